"""Facts and calls of AWS that backends share: clients, errors, S3, images, prices, policies, request rules."""
