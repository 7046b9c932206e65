"""Jobs as containers of the local Docker Engine, with SageMaker's contract around them."""
