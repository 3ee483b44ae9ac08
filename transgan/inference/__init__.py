"""Using a trained model: model folders, the translator, and regions of an item."""
