"""The lab: an inventory's hosts as real systemd machines on this one, in a network namespace without a way out."""
