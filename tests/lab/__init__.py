"""A miniature GitHub on loopback, made of real parts: git, act and GitHub's own OpenAPI document."""

from .contract import DocumentUnavailable
from .world import Lab, LabUnavailable

__all__ = ["DocumentUnavailable", "Lab", "LabUnavailable"]
