"""Store platforms: each connector verifies deliveries and translates them into canonical snapshots."""
