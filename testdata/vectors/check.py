#!/usr/bin/env python3
"""Checks hash.json, rank.json and lists.json against a second implementation of docs/hashing.md.

The arithmetic is in arithmetic.py, the making of a list in lists.py; both use nothing but Python's standard library. Run it
from anywhere: `python3 testdata/vectors/check.py`.
"""

import json
import sys
from pathlib import Path

sys.dont_write_bytecode = True

from arithmetic import key_hash, node_seed, race, to_bits
from lists import World, answers


def part_bytes(part):
    return part.encode() if isinstance(part, str) else bytes(i % 251 for i in range(part["length"]))


def main():
    here = Path(__file__).parent
    hashes = json.loads((here / "hash.json").read_text())
    ranks = json.loads((here / "rank.json").read_text())
    faults = 0
    for vector in hashes["keys"]:
        found = f"{key_hash([part_bytes(part) for part in vector['parts']]):016x}"
        if found != vector["hash"]:
            faults += 1
            print(f"key {vector['parts']}: {found}, expected {vector['hash']}")
    for vector in hashes["nodes"]:
        found = f"{node_seed(vector['id']):016x}"
        if found != vector["seed"]:
            faults += 1
            print(f"node {vector['id']}: {found}, expected {vector['seed']}")
    for pool in ranks["pools"]:
        key = key_hash([part.encode() for part in pool["key"]])
        races = [
            (race(key, node_seed(node), weight), index)
            for index, (node, weight) in enumerate(zip(pool["ids"], pool["weights"]))
        ]
        best = sorted(races)[: len(pool["order"])]
        found = [[index for _, index in best], [f"{to_bits(time):08x}" for time, _ in best]]
        if found != [pool["order"], pool["races"]]:
            faults += 1
            print(f"pool of {len(pool['ids'])} for {pool['key']}: the order or a race differs")
    lists = json.loads((here / "lists.json").read_text())
    asked = 0
    for case in lists["cases"]:
        world = World(lists["topologies"][case["topology"]], case["policy"], case["known"])
        for request in case["requests"]:
            asked += 1
            for field, found in answers(world, request).items():
                if found != request[field]:
                    faults += 1
                    print(f"{case['what']}, {request['path']}: {field} {found}, expected {request[field]}")
    counted = asked + len(hashes["keys"]) + len(hashes["nodes"]) + len(ranks["pools"])
    print(f"{counted} vectors, {faults} differ")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
