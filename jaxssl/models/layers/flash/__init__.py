"""A Pallas kernel for TPUs that computes attention without writing its scores to memory."""
