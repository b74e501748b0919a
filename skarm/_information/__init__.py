"""Fisher information of the last layer, and batches of pairs that raise it most.

================  ==============================================================
`pair_lengths`    differences of items over a list of pairs, and their lengths
`shortlists`      of a greedy batch: few candidates that hold the best
`fisher`          the information of a list of pairs; greedy D and V batches from it
`criteria`        greedy batches by further criteria (D_s, G; BAIT's way back)
`exchange`        passes that improve a batch by swapping pairs
`certificate`     provable bounds on how good a batch is
`all_pairs`,      greedy D and V batches among every pair of n items, by way of
`all_pairs_v`     `pair_pool` (which pairs), `pair_scan` (looking through them) and
                  `pair_batch` (what was picked)
================  ==============================================================
"""

__all__ = []
