"""What can be trained or loaded: a family, a net, a card, weights."""
