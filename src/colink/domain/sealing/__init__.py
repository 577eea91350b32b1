"""Sealing: what makes the log checkable by an outsider (semantics section 9). Bytes of an event and its chain
(`encoding`), the Merkle tree over them (`merkle`), and what is signed of it (`checkpoint`). All pure."""
