"""The dress rehearsal: what it plays, what it refuses, and every fault that was ever found, planted again."""
