"""What a training batch is made of: sentences, captions with features, the schedule, tensors."""
