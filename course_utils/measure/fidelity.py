"""Fidelity and diversity, in the features of a network that no label has told anything (models/features.py)."""

from __future__ import annotations

import torch
from torch import Tensor

from course_utils.measure.sizes import resized
from course_utils.models import load_model
from course_utils.models.features import FeatureNetwork


class Features:
    """Pictures (N, 3, H, H) in [0, 1] to features (N, 128) of a shipped self-supervised network.

    Pictures of another size than the network learned from are brought to it first.
    """

    def __init__(self, network: FeatureNetwork):
        self.network = network.eval()

    @classmethod
    def load(cls, name: str = "features") -> Features:
        """The shipped network. Raises CourseError if its weights are missing or damaged."""
        network = load_model(name, "features")
        assert isinstance(network, FeatureNetwork)
        return cls(network)

    @torch.inference_mode()
    def __call__(self, images: Tensor, batch_size: int = 256) -> Tensor:
        images = resized(images, self.network.config.pixels)
        return torch.cat([self.network(part) for part in images.split(batch_size)])


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Fréchet distance of two Gaussians fitted to features (N, D) and (M, D) (Heusel et al. 2017, equation 6).

    |μ_a - μ_b|² + tr(Σ_a + Σ_b - 2 (Σ_a Σ_b)^½), the trace of the root by eigenvalues of the symmetric Σ_a^½ Σ_b Σ_a^½.
    """
    a, b = a.double(), b.double()
    mean_a, mean_b = a.mean(0), b.mean(0)
    cov_a, cov_b = torch.cov(a.T), torch.cov(b.T)
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors @ (values.clamp_min(0).sqrt()[:, None] * vectors.T)
    middle = torch.linalg.eigvalsh(root @ cov_b @ root).clamp_min(0).sqrt().sum()
    return float((mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * middle)


def mean_pairwise_distance(features: Tensor) -> Tensor:
    """Mean Euclidean distance between different rows, for each group: (G, K, D) to (G,)."""
    k = features.shape[1]
    return torch.cdist(features, features).sum((1, 2)) / (k * (k - 1))
