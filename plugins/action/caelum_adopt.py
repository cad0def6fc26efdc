"""Action plugin: module caelum_adopt, without being sent where the host is this machine."""

from ansible.plugins.loader import action_loader

ActionModule = action_loader.get("caelum_local", class_only=True)
