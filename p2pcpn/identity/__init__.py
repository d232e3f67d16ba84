"""Who is speaking: keys, the ids made from them, signing and verifying."""
