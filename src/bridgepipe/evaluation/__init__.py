"""What a result is worth: features, distances, accuracy and restoration quality, with their protocol."""
