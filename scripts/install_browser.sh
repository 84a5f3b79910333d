#!/bin/sh
# Get Chromium for the tests of the report: from the system if it is there, else from Debian's
# archive. Never fails: without a browser these tests are skipped, with a message.
for name in chromium chromium-browser google-chrome; do
    command -v "$name" > /dev/null && exit 0
done
if [ "$(id -u)" -eq 0 ] && command -v apt-get > /dev/null; then
    echo "Installing Chromium for the tests of the report ..."
    export DEBIAN_FRONTEND=noninteractive
    {
        timeout 120 apt-get -qq update
        timeout 300 apt-get -qq install -y --no-install-recommends chromium fonts-dejavu-core
    } > /dev/null 2>&1 && exit 0
fi
echo "No Chromium, and no way to install it: tests of the report in a browser will be skipped."
exit 0
