"""Owns fair timing: interleaved rounds, the machine record, the peers; refuses to time a wrong answer."""
