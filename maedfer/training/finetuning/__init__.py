"""Fine-tuning: `maedfer finetune` and `maedfer evaluate`."""
