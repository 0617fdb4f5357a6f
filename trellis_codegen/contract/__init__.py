"""The contract document, understood: read, checked, located, and reduced to its digest."""
