"""Loading of the proposal head from a weights file, strictly and without its other tensors."""

from __future__ import annotations

import os

from sam3.model.proposal_head import ProposalHead
from sam3.model.unfilled import unfilled
from sam3.runtime.torch_state import own_defaults
from sam3.weights.keys import OWN_PROPOSAL_PREFIX, Source
from sam3.weights.load import load_into, opened

__all__ = ["load_proposal_head"]


@own_defaults()
def load_proposal_head(path: str | os.PathLike[str]) -> ProposalHead | None:
    """Load the proposal head of a weights file; None if it has none, as the released files.

    Parameters
    ----------
    path : path-like
        As for :func:`sam3.weights.load.load`.

    Returns
    -------
    ProposalHead or None
        In evaluation mode, float32, on the CPU.

    Raises
    ------
    CheckpointNotFoundError, CheckpointError
        As :func:`sam3.weights.load.load`.
    """
    with opened(path) as (info, file):
        if info.config.proposals is None:
            return None
        head = unfilled(ProposalHead, info.config)
        table = {n: Source((OWN_PROPOSAL_PREFIX + n,)) for n in head.state_dict()}
        expected = [name for name in file.tensors if name.startswith(OWN_PROPOSAL_PREFIX)]
        load_into(head, info, table, expected, file)
    return head
