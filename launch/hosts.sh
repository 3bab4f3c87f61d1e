#!/usr/bin/env bash
# Several hosts on this one machine: each a network namespace with its own address and a Ray node of its own, joined by
# a switch that lives in a namespace too. Nothing of this machine's own network is touched, and nothing leaves it.
#
#   launch/hosts.sh up N             N hosts, one after another; the Ray head is host 0, at 10.77.0.1:6379
#   launch/hosts.sh run HOST COMMAND run something on a host, as a training job on host 0:
#                                    run 0 python -m fer_dist.train demo ... --ray.address 10.77.0.1:6379 --ray.workers N
#   launch/hosts.sh list             host, address, processes, link
#   launch/hosts.sh kill HOST        the host dies: SIGKILL to all that runs on it
#   launch/hosts.sh start HOST       a Ray node on a host that was killed
#   launch/hosts.sh pause HOST       the host hangs: SIGSTOP to all that runs on it;  continue HOST lets it go on
#   launch/hosts.sh cut HOST         its cable is pulled;                             join HOST plugs it in again
#   launch/hosts.sh down             all of it goes away
#
# HOSTS_DIR   folder for state and logs, of at most 40 letters (Ray's sockets lie below it). Without it `up` makes one
#             and notes it in /run/fer-dist-hosts, where the other commands find it.
# HOST_CPUS   cores that each Ray node offers, by default 1.
#
# Needs root, iproute2, and ray on the PATH. Costs about 0.7 GB of memory a host, and seconds of a core for each start.
set -euo pipefail
noted=/run/fer-dist-hosts
port=6379

fail() {
  echo "hosts.sh: $1" >&2
  exit 2
}

main() {
  local action=${1:-}
  [ "$#" -eq 0 ] || shift
  case $action in up | run | list | kill | start | pause | continue | cut | join | down) ;; *)
    fail "usage: launch/hosts.sh up N | run HOST COMMAND... | list | kill|start|pause|continue|cut|join HOST | down" ;;
  esac
  [ "$(id -u)" -eq 0 ] || fail "needs root, to make network namespaces"
  command -v ip > /dev/null || fail "needs the ip command; install iproute2"
  if [ "$action" = up ]; then
    up "$@"
    return
  fi
  dir=${HOSTS_DIR:-$(cat "$noted" 2> /dev/null || true)}
  [ -f "$dir/hosts" ] || fail "no hosts are up${dir:+ in $dir}; begin with: launch/hosts.sh up 2"
  read -r tag count cpus < "$dir/hosts"
  case $action in
    down) down ;;
    list) list ;;
    *)
      host=${1:-}
      in_range "$host" 0 $((count - 1)) || fail "$action ${host:-without a host}: hosts are 0 to $((count - 1))"
      shift
      case $action in
        run) run "$@" ;;
        kill) send KILL ;;
        pause) send STOP ;;
        continue) send CONT ;;
        cut) ip -n "$tag-switch" link set "port$host" down ;;
        join) ip -n "$tag-switch" link set "port$host" up ;;
        start) start_node ;;
      esac
      ;;
  esac
}

in_range() { # NUMBER LEAST MOST
  [[ $1 =~ ^[0-9]{1,3}$ ]] && [ "$1" -ge "$2" ] && [ "$1" -le "$3" ]
}

up() { # N
  count=${1:-}
  in_range "$count" 1 200 || fail "up ${count:-without a number}: give 1 to 200"
  command -v ray > /dev/null || fail "needs the ray command on the PATH; activate the virtual environment of fer_dist"
  cpus=${HOST_CPUS:-1}
  dir=${HOSTS_DIR:-}
  if [ -z "$dir" ]; then
    [ ! -e "$noted" ] || fail "hosts are up already, in $(cat "$noted"); take them down first, or set HOSTS_DIR"
    dir=$(mktemp -d /tmp/hosts.XXXXXX)
    echo "$dir" > "$noted"
  fi
  mkdir -p "$dir"
  dir=$(realpath "$dir")
  [ "${#dir}" -le 40 ] || fail "HOSTS_DIR $dir is longer than 40 letters, too long for the sockets that Ray puts below it"
  [ ! -e "$dir/hosts" ] || fail "hosts are up already in $dir; take them down first: launch/hosts.sh down"
  tag=fer-$(od -An -N4 -tx1 /dev/urandom | tr -d ' ')
  echo "$tag $count $cpus" > "$dir/hosts"
  trap down EXIT
  (umask 077 && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' > "$dir/token")
  ip netns add "$tag-switch"
  ip -n "$tag-switch" link add switch type bridge
  ip -n "$tag-switch" link set switch up
  for host in $(seq 0 $((count - 1))); do
    plug_in
    start_node
  done
  trap - EXIT
  echo "$count hosts are up; the Ray head is at 10.77.0.1:$port, their logs and state in $dir"
}

plug_in() {
  ip netns add "$tag-$host"
  ip link add eth0 netns "$tag-$host" type veth peer name "port$host" netns "$tag-switch"
  ip -n "$tag-switch" link set "port$host" master switch up
  ip -n "$tag-$host" address add "10.77.0.$((host + 1))/24" dev eth0
  ip -n "$tag-$host" link set lo up
  ip -n "$tag-$host" link set eth0 up
  # It leads nowhere: Ray finds its own address by asking which one a packet to the world would leave from.
  ip -n "$tag-$host" route add default dev eth0
}

start_node() {
  local address=10.77.0.$((host + 1)) role=(--head --port "$port" --dashboard-host "10.77.0.1")
  [ "$host" -eq 0 ] || role=(--address "10.77.0.1:$port")
  # 80 MB is near Ray's least: pictures do not pass through its object store.
  run ray start "${role[@]}" --node-ip-address "$address" --temp-dir "$dir/ray$host" --num-cpus "$cpus" \
    --object-store-memory 80000000 --disable-usage-stats > "$dir/$host.log" 2>&1 < /dev/null || {
    tail -n 5 "$dir/$host.log" >&2
    echo "hosts.sh: the Ray node of host $host did not start; see $dir/$host.log" >&2
    exit 1
  }
}

run() { # COMMAND...
  # Gloo listens where the host's name leads, which is 127.0.0.1 here as on many a machine.
  local settings=(GLOO_SOCKET_IFNAME=eth0 RAY_AUTH_MODE=token "RAY_AUTH_TOKEN_PATH=$dir/token")
  local inside=(ip netns exec "$tag-$host" "$@")
  # Signals to this script are to reach the command, not a shell in between. The address is given, since Ray would
  # look for clusters among the processes of all namespaces.
  if [ "$action" = run ]; then exec env "${settings[@]}" "RAY_ADDRESS=10.77.0.1:$port" "${inside[@]}"; fi
  env -u RAY_ADDRESS "${settings[@]}" "${inside[@]}"
}

send() { # SIGNAL
  # Again, until it finds nobody new: what is about to be stopped may be starting others.
  local before="" pids
  for _ in $(seq 50); do
    pids=$(ip netns pids "$tag-$host" | sort | tr '\n' ' ')
    [ "$pids" != "$before" ] || return 0
    # A list of words. Some may have ended meanwhile.
    # shellcheck disable=SC2086
    [ -z "$pids" ] || kill -s "$1" $pids 2> /dev/null || true
    before=$pids
    sleep 0.1
  done
}

list() {
  for host in $(seq 0 $((count - 1))); do
    local link
    link=$(ip -n "$tag-switch" -brief link show "port$host" | tr -s ' ' | cut -d ' ' -f 2)
    echo "$host 10.77.0.$((host + 1)) $(ip netns pids "$tag-$host" | wc -l) processes, link $link"
  done
}

down() {
  for host in $(seq 0 $((count - 1))); do
    [ -e "/run/netns/$tag-$host" ] || continue
    send KILL
    ip netns delete "$tag-$host"
    rm -rf "$dir/ray$host" "$dir/$host.log"
  done
  [ ! -e "/run/netns/$tag-switch" ] || ip netns delete "$tag-switch"
  rm -f "$dir/token" "$dir/hosts"
  rmdir "$dir" 2> /dev/null || true
  if [ "$(cat "$noted" 2> /dev/null || true)" = "$dir" ]; then rm -f "$noted"; fi
}

main "$@"
