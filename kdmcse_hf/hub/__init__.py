"""Models on the Hub: the best one, always whole, never lost."""

from .background import BestPusher
from .process import Target
from .push import Pushed, push_repository
from .staging import check_repository

__all__ = ["BestPusher", "Pushed", "Target", "check_repository", "push_repository"]
