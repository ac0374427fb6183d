"""One client's work in Flower's SecAgg+, by its own primitives; run by Flower's own interpreter.

`python _flower_secagg.py SHARES THRESHOLD NUMBERS` prints CPU milliseconds by step as JSON. It
calls what `flwr.client.mod.secaggplus_mod` calls, as often as that does; messages
and quantisation are left out. Its client doesn't check who a neighbour's keys are of.
"""

import json
import os
import sys
import time

import numpy as np
from flwr.common.secure_aggregation.crypto.shamir import create_shares
from flwr.common.secure_aggregation.crypto.symmetric_encryption import (
    decrypt,
    encrypt,
    generate_shared_key,
)
from flwr.common.secure_aggregation.secaggplus_utils import (
    pseudo_rand_gen,
    share_keys_plaintext_concat,
    share_keys_plaintext_separate,
)
from flwr.supercore.primitives.asymmetric import (
    bytes_to_private_key,
    bytes_to_public_key,
    generate_key_pairs,
    private_key_to_bytes,
    public_key_to_bytes,
)

_MODULUS = 1 << 32


def main(shares: int, threshold: int, numbers: int) -> dict[str, float]:
    """CPU milliseconds of each step, threads included."""
    others = [public_key_to_bytes(generate_key_pairs()[1]) for _ in range(shares - 1)]
    spent = {}

    start = time.process_time()
    secrets = [private_key_to_bytes(generate_key_pairs()[0]) for _ in range(2)]
    spent["advertise"] = time.process_time() - start

    start = time.process_time()
    seed = os.urandom(32)
    of_seed = create_shares(seed, threshold, shares)
    of_key = create_shares(secrets[0], threshold, shares)
    spent["split"] = time.process_time() - start

    start = time.process_time()
    keys, letters = [], []
    for at, other in enumerate(others):
        keys.append(
            generate_shared_key(bytes_to_private_key(secrets[1]), bytes_to_public_key(other))
        )
        plain = share_keys_plaintext_concat(1, at + 2, of_seed[at], of_key[at])
        letters.append(encrypt(keys[-1], plain))
    spent["agree and encrypt"] = time.process_time() - start

    start = time.process_time()
    for key, letter in zip(keys, letters, strict=True):
        share_keys_plaintext_separate(decrypt(key, letter))
    spent["decrypt"] = time.process_time() - start

    start = time.process_time()
    total = np.zeros(numbers, dtype=np.int64) + pseudo_rand_gen(seed, _MODULUS, [(numbers,)])[0]
    for other in others:
        shared = generate_shared_key(bytes_to_private_key(secrets[0]), bytes_to_public_key(other))
        total = total + pseudo_rand_gen(shared, _MODULUS, [(numbers,)])[0]
    np.mod(total, _MODULUS)
    spent["mask"] = time.process_time() - start
    return {step: 1000 * seconds for step, seconds in spent.items()}


if __name__ == "__main__":
    print(json.dumps(main(*(int(argument) for argument in sys.argv[1:]))))
