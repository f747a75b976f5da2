"""Models on the Hub: the best one, always whole, never lost."""

from .background import BestPusher
from .callback import PushBest, push_final, start_pushing
from .process import Target
from .push import Pushed, push_repository
from .staging import check_repository

__all__ = [
    "BestPusher",
    "PushBest",
    "Pushed",
    "Target",
    "check_repository",
    "push_final",
    "push_repository",
    "start_pushing",
]
