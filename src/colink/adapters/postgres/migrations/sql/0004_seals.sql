-- The seals behind the writers: chain, Merkle nodes, signed checkpoints.

select 1;
