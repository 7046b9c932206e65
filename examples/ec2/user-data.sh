#!/bin/bash
# cloud-init runs this script as root at the first start of an instance with a Debian or Ubuntu image.
# The agent runs trials in containers. The instance shuts down when the queue has no more messages.
set -euo pipefail
queue=https://sqs.eu-west-1.amazonaws.com/123456789012/sweeps
image=123456789012.dkr.ecr.eu-west-1.amazonaws.com/train:1
wheel=0000000000000000000000000000000000000000000000000000000000000000
trap 'shutdown -h now' EXIT

apt-get update -q
apt-get install -q -y curl docker.io python3-venv awscli
# The digest of the wheel is in SHA256SUMS on the release's page. The wheel contains the digests of its dependencies.
python3 -m venv /opt/smsweep
echo "smsweep==0.1.0 --hash=sha256:$wheel" > /opt/smsweep/wheel.txt
install=(/opt/smsweep/bin/pip install --quiet --require-hashes --only-binary :all: --no-deps)
"${install[@]}" -r /opt/smsweep/wheel.txt
pins=$(echo /opt/smsweep/lib/python3*/site-packages/smsweep/requirements)
"${install[@]}" -r "$pins/base.txt" -r "$pins/postgres.txt"

export AWS_REGION=eu-west-1 HOME=/root SMSWEEP_DIR=/var/lib/smsweep SMSWEEP_DOCKER_IMAGE=$image
SMSWEEP_STORE=$(aws secretsmanager get-secret-value --secret-id smsweep/store --query SecretString --output text)
export SMSWEEP_STORE
aws ecr get-login-password | docker login --username AWS --password-stdin "${image%%/*}"

/opt/smsweep/bin/smsweep agent --queue "$queue" --backend docker --parallel 2 --wait 600 &
agent=$!

# EC2 announces a spot interruption two minutes before. On SIGTERM, the agent returns its trials to the queue.
metadata=http://169.254.169.254/latest
while kill -0 "$agent" 2> /dev/null; do
    token=$(curl -sf -X PUT "$metadata/api/token" -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' || true)
    if curl -sf -o /dev/null -H "X-aws-ec2-metadata-token: $token" "$metadata/meta-data/spot/instance-action"; then
        kill -TERM "$agent"
        break
    fi
    sleep 5
done
wait "$agent"
