"""Claims about spiking networks, proven or refuted by running them."""

from mmspike.claims.check import ClaimsReport, check_claims
from mmspike.claims.claim import BROKEN, HOLDS, NOT_SHOWN, Claim, Place

__all__ = [
    'BROKEN',
    'HOLDS',
    'NOT_SHOWN',
    'Claim',
    'ClaimsReport',
    'Place',
    'check_claims',
]
