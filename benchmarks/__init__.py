"""Speed and memory, each as a ratio to a stated baseline of the same run; and the accuracy of samplers."""
