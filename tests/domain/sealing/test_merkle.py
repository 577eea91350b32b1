"""The tree is RFC 6962's: the vectors of the Certificate Transparency reference implementation, an independent
implementation (pymerkle) both ways, and every tampered proof refused."""

from __future__ import annotations

import functools
import random
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import ConsistencyProof, InclusionProof, InmemoryTree
from pymerkle import verify_consistency as pymerkle_verify_consistency
from pymerkle import verify_inclusion as pymerkle_verify_inclusion
from tests.domain.sealing.oracle import Kept, consistency_path, inclusion_path, leaves_of, root_of

from colink.domain.sealing.merkle import (
    EMPTY_ROOT,
    CompactRange,
    NotInTree,
    ProofRejected,
    Span,
    consistency_ranges,
    inclusion_ranges,
    node_hash,
    range_root,
    spans,
    verify_consistency,
    verify_inclusion,
)

# Entries, roots and proofs of the reference implementation's own tests (certificate-transparency, merkle_tree_test).
ENTRIES = [
    bytes.fromhex(entry)
    for entry in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = [  # leaf (from 0), tree size, path
    (0, 1, []),
    (
        0,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        5,
        8,
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (
        1,
        5,
        [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]
CONSISTENCY = [  # old size, new size, path
    (1, 1, []),
    (
        1,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        2,
        5,
        [
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]
LEAVES = leaves_of(ENTRIES)


def test_roots_of_the_reference_implementation() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    tree = CompactRange()
    assert tree.root() == EMPTY_ROOT
    for leaf, root in zip(LEAVES, ROOTS, strict=True):
        tree.append(leaf)
        assert tree.root().hex() == root
    kept = Kept(LEAVES)
    assert [range_root(kept, (0, size)).hex() for size in range(1, 9)] == ROOTS
    assert range_root(kept, (0, 0)) == EMPTY_ROOT


@pytest.mark.parametrize(("index", "size", "path"), INCLUSION)
def test_inclusion_proofs_of_the_reference_implementation(index: int, size: int, path: list[str]) -> None:
    assert [each.hex() for each in inclusion_path(Kept(LEAVES[:size]), index, size)] == path
    root = bytes.fromhex(ROOTS[size - 1])
    verify_inclusion(
        leaf=LEAVES[index], index=index, size=size, path=[bytes.fromhex(each) for each in path], root=root
    )


@pytest.mark.parametrize(("old", "new", "path"), CONSISTENCY)
def test_consistency_proofs_of_the_reference_implementation(old: int, new: int, path: list[str]) -> None:
    assert [each.hex() for each in consistency_path(Kept(LEAVES[:new]), old, new)] == path
    verify_consistency(
        old=old,
        old_root=bytes.fromhex(ROOTS[old - 1]),
        new=new,
        new_root=bytes.fromhex(ROOTS[new - 1]),
        path=[bytes.fromhex(each) for each in path],
    )


def entries(size: int) -> list[bytes]:
    return [b"entry %d" % number for number in range(size)]


def peer(size: int) -> InmemoryTree:
    """The same tree, built by pymerkle."""
    tree = InmemoryTree(algorithm="sha256")
    for entry in entries(size):
        tree.append_entry(entry)
    return tree


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 600), st.data())
def test_pymerkle_agrees_about_inclusion_both_ways(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    theirs, leaves = peer(size), leaves_of(entries(size))
    root = root_of(leaves)
    assert theirs.get_root() == root == range_root(Kept(leaves).only([(0, size)]), (0, size))
    proof = theirs.prove_inclusion(index + 1, size)
    leaf, *path = proof.path
    verify_inclusion(leaf=leaf, index=index, size=size, path=path, root=root)
    ours = InclusionProof(
        "sha256", True, size, index + 1, proof.rule, [leaves[index], *inclusion_path(Kept(leaves), index, size)]
    )
    pymerkle_verify_inclusion(leaves[index], root, ours, index=index + 1, size=size)


def as_in_the_rfc(proof: ConsistencyProof, *, old: int) -> list[bytes]:
    """Pymerkle's path in the form of RFC 6962. Where the old tree ends with a subtree that the new one has whole, it
    takes the part beside that subtree to pieces, puts them before it, and never leaves the old root out."""
    if old == proof.size:
        return []
    if proof.subset[0] == 1:
        return list(proof.path)
    at = proof.subset.index(1)
    beside, before = functools.reduce(node_hash, proof.path[:at]), proof.path[at]
    return [*([] if old & (old - 1) == 0 else [before]), beside, *proof.path[at + 1 :]]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 600), st.data())
def test_pymerkle_agrees_about_consistency_both_ways(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, new))
    theirs, leaves = peer(new), leaves_of(entries(new))
    old_root, new_root = root_of(leaves[:old]), root_of(leaves)
    proof = theirs.prove_consistency(old, new)
    path = as_in_the_rfc(proof, old=old)
    verify_consistency(old=old, old_root=old_root, new=new, new_root=new_root, path=path)
    ours = consistency_path(Kept(leaves), old, new)
    assert ours == path
    if proof.subset[0] == 1 and old < new:  # the two forms are one
        rebuilt = ConsistencyProof("sha256", True, new, old, proof.rule, proof.subset, ours)
        pymerkle_verify_consistency(old_root, new_root, rebuilt, prior_size=old, later_size=new)


def test_every_proof_of_small_trees() -> None:
    """All positions and sizes up to 70: no special shape is left out."""
    leaves = leaves_of(entries(70))
    roots = [root_of(leaves[:size]) for size in range(71)]
    kept = Kept(leaves)
    for size in range(1, 71):
        for index in range(size):
            path = inclusion_path(kept, index, size)
            verify_inclusion(leaf=leaves[index], index=index, size=size, path=path, root=roots[size])
        for old in range(1, size + 1):
            path = consistency_path(kept, old, size)
            verify_consistency(old=old, old_root=roots[old], new=size, new_root=roots[size], path=path)


def flipped(value: bytes) -> bytes:
    return bytes([value[0] ^ 1]) + value[1:]


@settings(deadline=None)
@given(st.integers(2, 300), st.randoms(use_true_random=False))
def test_a_tampered_inclusion_proof_is_refused(size: int, chance: random.Random) -> None:
    leaves = leaves_of(entries(size))
    index = chance.randrange(size)
    path, root = inclusion_path(Kept(leaves), index, size), root_of(leaves)
    at = chance.randrange(len(path))
    good = {"leaf": leaves[index], "index": index, "size": size, "path": path, "root": root}
    verify_inclusion(**good)  # type: ignore[arg-type]  # the keys are its parameters
    other = chance.choice([each for each in range(size) if each != index])
    for change in (
        {"leaf": flipped(leaves[index])},
        {"leaf": leaves[other]},
        {"index": other},
        {"index": size},
        {"index": -1},
        {"root": flipped(root)},
        {"path": [*path[:at], flipped(path[at]), *path[at + 1 :]]},
        {"path": path[:at] + path[at + 1 :]},
        {"path": [*path, root]},
        {"path": [leaves[0], *path]},
        {"path": []},
    ):
        with pytest.raises(ProofRejected):
            verify_inclusion(**(good | change))  # type: ignore[arg-type]  # the keys are its parameters


def test_a_proof_says_how_large_its_tree_is() -> None:
    """The path and the root of one tree do not pass for those of a larger or smaller one."""
    kept = Kept(LEAVES)
    path, root = inclusion_path(kept, 1, 4), bytes.fromhex(ROOTS[3])
    verify_inclusion(leaf=LEAVES[1], index=1, size=4, path=path, root=root)
    for size, reason in ((8, "too short"), (2, "too long")):
        with pytest.raises(ProofRejected, match=reason):
            verify_inclusion(leaf=LEAVES[1], index=1, size=size, path=path, root=root)
    steps = consistency_path(kept, 3, 4)
    with pytest.raises(ProofRejected, match="too short"):
        verify_consistency(old=3, old_root=bytes.fromhex(ROOTS[2]), new=8, new_root=root, path=steps)


@settings(deadline=None)
@given(st.integers(2, 300), st.randoms(use_true_random=False))
def test_a_tampered_consistency_proof_is_refused(new: int, chance: random.Random) -> None:
    leaves = leaves_of(entries(new))
    old = chance.randrange(1, new)
    path = consistency_path(Kept(leaves), old, new)
    at = chance.randrange(len(path))
    good = {"old": old, "old_root": root_of(leaves[:old]), "new": new, "new_root": root_of(leaves), "path": path}
    verify_consistency(**good)  # type: ignore[arg-type]  # the keys are its parameters
    for change in (
        {"old_root": flipped(root_of(leaves[:old]))},
        {"new_root": flipped(root_of(leaves))},
        {"old": 0},
        {"old": new},
        {"old": new + 1},
        {"new": old},
        {"path": [*path[:at], flipped(path[at]), *path[at + 1 :]]},
        {"path": path[:at] + path[at + 1 :]},
        {"path": [*path, leaves[0]]},
        {"path": []},
    ):
        with pytest.raises(ProofRejected):
            verify_consistency(**(good | change))  # type: ignore[arg-type]  # the keys are its parameters


def test_a_tree_in_which_anything_changed_is_not_consistent_with_the_old_one() -> None:
    """Rewritten, not tampered with: the path is the honest one of the tree as it is now."""
    leaves = leaves_of(entries(300))
    for changed in (0, 150, 199):
        rewritten = [*leaves[:changed], flipped(leaves[changed]), *leaves[changed + 1 :]]
        with pytest.raises(ProofRejected, match="older tree"):
            verify_consistency(
                old=200,
                old_root=root_of(leaves[:200]),
                new=300,
                new_root=root_of(rewritten),
                path=consistency_path(Kept(rewritten), 200, 300),
            )


@pytest.mark.parametrize("size", [1, 255, 256, 257, 511, 65_535, 65_536, 65_537, 66_000])
def test_stored_subtrees_give_what_the_leaves_give(size: int) -> None:
    leaves = [sha256(b"%d" % number).digest() for number in range(size)]
    kept, root = Kept(leaves), root_of(leaves)
    tree = CompactRange(watch=(8, 16))
    tree.extend(leaves)
    assert tree.root() == root
    assert [
        (level, index, node) for level in (8, 16) for index, node in enumerate(tree.completed.get(level, []))
    ] == sorted((level, index, node) for (level, index), node in kept.items() if level)
    for index in {0, size // 2, size - 1}:
        path = inclusion_path(kept, index, size)
        verify_inclusion(leaf=leaves[index], index=index, size=size, path=path, root=root)
    for old in {1, (size + 1) // 2, size}:
        path = consistency_path(kept, old, size)
        verify_consistency(old=old, old_root=root_of(leaves[:old]), new=size, new_root=root, path=path)
    assert CompactRange.of(kept.only([(0, size)]), size).root() == root


@given(st.lists(st.integers(0, 700), max_size=5))
@settings(deadline=None, max_examples=20)
def test_a_tree_grows_the_same_however_it_is_fed(portions: list[int]) -> None:
    leaves = [sha256(b"%d" % number).digest() for number in range(sum(portions))]
    whole, one_by_one, grown = (CompactRange(watch=(0, 8)) for _ in range(3))
    whole.extend(leaves)
    for leaf in leaves:
        one_by_one.append(leaf)
    start = 0
    for portion in portions:
        grown.extend(leaves[start : start + portion])
        start += portion
    assert whole == one_by_one == grown
    assert whole.completed.get(0, []) == leaves


@pytest.mark.parametrize(
    ("size", "index"), [(5_000_000, 3_333_333), (2**24 + 12_345, 77), (123_456_789, 123_456_788)]
)
def test_a_proof_reads_few_hashes_of_a_large_tree(size: int, index: int) -> None:
    for ranges in (inclusion_ranges(index, size), consistency_ranges(index, size)):
        wanted = spans(ranges)
        read = {
            level: sum(each.last - each.first + 1 for each in wanted if each.level == level) for level in (0, 8, 16)
        }
        assert read[0] <= 2 * 256
        assert read[8] <= 2 * 256
        assert read[16] <= size >> 16


def test_hashes_that_lie_side_by_side_are_read_in_one_span() -> None:
    assert spans([(0, 3), (2, 4), (6, 7)]) == [Span(0, 0, 3), Span(0, 6, 6)]
    assert spans([(0, 512 + 1)]) == [Span(0, 512, 512), Span(8, 0, 1)]


def test_what_is_not_in_the_tree_is_not_proven() -> None:
    kept = Kept(LEAVES)
    with pytest.raises(NotInTree, match="no leaf 8"):
        inclusion_path(kept, 8, 8)
    with pytest.raises(NotInTree, match="between trees of 0 and 8"):
        consistency_path(kept, 0, 8)
    with pytest.raises(NotInTree, match="subtree 8 of 2\\^0 leaves is missing"):
        range_root(kept, (0, 9))
