"""Constant Contact e-mail activity as events on an EventBridge bus."""
