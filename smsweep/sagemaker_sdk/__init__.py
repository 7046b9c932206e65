"""Convert objects of the SageMaker SDK. The only package that imports the SDK."""
