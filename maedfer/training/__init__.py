"""Training rooms: LightningModules, their data position, optimizer, callbacks and run folder."""
