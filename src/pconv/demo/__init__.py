"""The whole way on real images: train or load a network, prune, fine-tune, compile, check, time.

`data` reads images, `net` is the small network for digits, `train` fits and scores, `jobs` says what differs
between datasets, `run` does it all and fills a `result`.
The trainer shares `data`; the rest of the package imports nothing from here.
"""
