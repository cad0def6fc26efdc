"""Action plugin: module caelum_model with its progress shown live."""

from ansible.plugins.loader import action_loader

ActionModule = action_loader.get("caelum_progress", class_only=True)
