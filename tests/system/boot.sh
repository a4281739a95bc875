#!/usr/bin/env bash
# Boots systemd on a copy of this machine's root file system that is thrown away: every mount is in a mount namespace of
# its own, the network is one of its own. Prints the process id of its init, and ends it when standard input ends.
#   boot.sh FOLDER    (empty; mounts are made below it)        needs root, Debian's systemd-container, and unshare --mount
set -euo pipefail
folder=$1
root=$folder/root
mount -t tmpfs -o size=3g tmpfs "$folder"
mkdir "$folder"/{upper,scratch,root}
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/scratch" "$root"
init=
end() {
  set +e
  if [[ $init ]]; then kill -s RTMIN+14 "$init"; wait "$machine"; fi  # power off at once
  umount --recursive "$root"
  umount "$folder"
}
trap end EXIT

cat >"$root/etc/systemd/system/bare.target" <<'UNIT'
[Unit]
Description=Nothing but a log and a bus
DefaultDependencies=no
Wants=systemd-journald.service dbus.service
AllowIsolate=yes
UNIT
rm -f "$root/usr/sbin/policy-rc.d"  # here services may be started
echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --directory="$root" --register=no --keep-unit --private-network \
  --console=pipe --boot -- --unit=bare.target >"$folder/console" 2>&1 </dev/null &
machine=$!
for _ in $(seq 300); do
  init=$(pgrep --parent "$machine" | head -n 1) || true
  if [[ $init ]] && nsenter -t "$init" -m -p -u -i -n -C systemctl list-jobs >/dev/null 2>&1; then break; fi
  kill -0 "$machine" || { cat "$folder/console" >&2; exit 1; }
  sleep 0.1
done
nsenter -t "$init" -n ip link set lo up
echo "$init"
cat >/dev/null
