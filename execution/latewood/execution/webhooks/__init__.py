"""Webhooks: consumer groups whose consumer is an address elsewhere, called with each message, signed."""

from __future__ import annotations

from latewood.execution.webhooks.delivering import Deliveries
from latewood.execution.webhooks.registry import Webhooks
from latewood.execution.webhooks.targets import Targets
from latewood.execution.webhooks.words import HookState, NewSecret, Webhook, WebhookReceipt

__all__ = ["Deliveries", "HookState", "NewSecret", "Targets", "Webhook", "WebhookReceipt", "Webhooks"]
