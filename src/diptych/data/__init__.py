"""What a person brings: pictures, where they lie, and how they become batches."""
