"""What a device does in a federated round: train, clip, count; and vote on the result."""
