"""Parts of the comparison of Broadloom with other engines; `benches/compare.py` is the program."""
