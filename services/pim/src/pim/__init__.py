"""PIM: control plane and dashboard."""
