"""The whole way on real images: train or load a network, prune, fine-tune, compile, check, time.

`data` reads images, `net` is the small network for digits, `train` fits and scores, `jobs` says what differs
between datasets, `run` does it all and fills a `result`.
Nothing here is imported by the rest of the package.
"""
