"""The SageMaker SDK's objects, and the images of its frameworks: the only place that imports the SDK."""
