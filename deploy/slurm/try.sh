#!/bin/bash
# try.sh SPINESTREAM [TASKS]  brings Slurm up on this machine alone, runs run.sbatch there on phantoms, an array of TASKS (3),
# and verifies the union. As root on a machine to throw away, after `apt-get install slurm-wlm munge`; nothing in /etc is
# touched. It shows that the script, Slurm and the program understand each other. The GPUs are made up, and the model is
# none: it shows nothing of speed.
set -euo pipefail
spinestream=$(realpath "$1")
last=$((${2:-3} - 1))
script=$(realpath "$(dirname "$0")")/run.sbatch
work=$(mktemp -d -t spinestream-slurm.XXXXXX)
mkdir "$work/state" "$work/spool" "$work/logs"
touch "$work/gpu0" "$work/gpu1"
export SLURM_CONF=$work/slurm.conf
echo "Name=gpu File=$work/gpu[0-1]" > "$work/gres.conf"
cat > "$SLURM_CONF" <<CONF
ClusterName=try
SlurmctldHost=$(hostname)
SlurmUser=root
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
SlurmdParameters=config_overrides
NodeName=$(hostname) CPUs=16 RealMemory=64000 Gres=gpu:2
PartitionName=all Nodes=ALL Default=YES
CONF

install -d -o munge -g munge /run/munge
runuser -u munge -- /usr/sbin/munged
slurmctld
slurmd
trap 'kill $(cat "$work"/slurm*.pid /run/munge/munged.pid)' EXIT
sleep 3

cd "$work"
"$spinestream" phantom 6 cohort > phantom.log
arguments=(--set "run.manifest=$work/cohort/manifest.csv" --set "run.output=$work/out" --set run.id=try)
export SPINESTREAM=$spinestream
sbatch --test-only "$script"
sbatch --wait --array="0-$last" --cpus-per-task=1 --mem=4G "$script" "${arguments[@]}" --set 'model.chain=["identity"]'
grep -h ' of the cases, by SLURM' logs/*
"$spinestream" verify "${arguments[@]}"
echo "logs, tables and records: $work"
