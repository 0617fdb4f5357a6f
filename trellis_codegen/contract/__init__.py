"""The contract document: reads it, checks it, locates its problems, and computes its digest."""
