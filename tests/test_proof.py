"""`agree` and `near`: they print what they found, and fail where they should."""

from __future__ import annotations

import pytest
import torch

from course_utils.classroom.proof import agree, near


@pytest.mark.parametrize(
    ("ours", "reference", "tolerance", "said"),
    [
        (torch.tensor([1.0, 2.0004]), torch.tensor([1.0, 2.0]), 1e-3, "largest difference 4e-04, allowed 1e-03"),
        (0.1 + 0.2, 0.3, 1e-12, "largest difference 6e-17, allowed 1e-12"),
        (1.5, 1.25, 1, "largest difference 2e-01, allowed 1e+00"),
        (3, 3, 1e-9, "largest difference 0, allowed 1e-09"),
    ],
)
def test_agree_says_how_large_the_difference_is(ours, reference, tolerance, said, capsys):
    agree("sums", ours, reference, tolerance)
    assert capsys.readouterr().out == f"sums: {said}\n"


@pytest.mark.parametrize("ours", [torch.tensor([1.0, 2.1]), torch.tensor([1.0, float("nan")])])
def test_agree_fails_beyond_the_tolerance(ours):
    with pytest.raises(AssertionError, match="sums: they differ by"):
        agree("sums", ours, torch.tensor([1.0, 2.0]), 1e-2)


def test_near_takes_the_truth_within_four_standard_errors(capsys):
    draws = torch.tensor([-1.0, 1.0] * 200, dtype=torch.float64)
    error = draws.std().item() / 20
    near("mean", draws, 3.9 * error)
    assert "mean: 0.0000 ± 0.0501" in capsys.readouterr().out
    with pytest.raises(AssertionError, match="4.1 standard errors off"):
        near("mean", draws, 4.1 * error)
