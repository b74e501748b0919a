"""The mathematics of the reward model: likelihood, fit, network, posterior.

================  ==============================================================
`graph`           comparisons as edges between items: repeats, information
`likelihood`      value, gradient, information of a linear reward
`newton`          its minimum for a given prior precision
`evidence`        the prior precision that the answers prefer
`student`         or one for each coefficient, under Student's t prior
`linear`          these together, in the smallest coordinates
`networks`        hidden layers as lists of arrays
`training`        how they are trained
`choice`          whether a network earns its place beside a linear head
`heads`           an ensemble of last layers
`posterior`       the Laplace posterior of the last layer
`logit_normal`    expectations over a normal logit
================  ==============================================================
"""

__all__ = []
