"""What may be written, who may override, and a ledger of what was done."""
