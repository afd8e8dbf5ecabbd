// Lesser-runc stands before runc on a host that lacks some capabilities (lib/strange-machine.sh says when). It
// edits the specification that runc is about to read, then becomes runc:
//
//   - create, run, restore: <bundle>/config.json
//   - exec: the file after --process
//
// Each capability that isn't in this process's own bounding set is taken out of the lists. Where CAP_SYS_RESOURCE is
// among them, an oom score lower than our own becomes our own, and limits above our own hard limit are cut to it, since
// setting either needs that capability. On an ordinary host nothing is lacking and nothing is edited.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// In the order of their bits: linux/capability.h.
var capabilities = strings.Fields(`CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
	NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT
	SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
	MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE`)

// In the order of their numbers: asm-generic/resource.h.
var limits = strings.Fields(`CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS LOCKS SIGPENDING MSGQUEUE NICE RTPRIO RTTIME`)

func lacking() map[string]bool {
	lacking := map[string]bool{}
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if hex, ok := strings.CutPrefix(line, "CapBnd:"); ok {
			bits, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			for i, name := range capabilities {
				if err == nil && bits&(1<<i) == 0 {
					lacking["CAP_"+name] = true
				}
			}
		}
	}
	return lacking
}

func edit(process map[string]any, lacking map[string]bool) {
	sets, _ := process["capabilities"].(map[string]any)
	for set, names := range sets {
		list, _ := names.([]any)
		sets[set] = slices.DeleteFunc(list, func(name any) bool { return lacking[fmt.Sprint(name)] })
	}
	if !lacking["CAP_SYS_RESOURCE"] {
		return
	}
	if score, ok := process["oomScoreAdj"].(json.Number); ok {
		text, _ := os.ReadFile("/proc/self/oom_score_adj")
		own, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if wanted, err := score.Int64(); err == nil && wanted < own {
			process["oomScoreAdj"] = own
		}
	}
	list, _ := process["rlimits"].([]any)
	for _, entry := range list {
		limit, _ := entry.(map[string]any)
		var own syscall.Rlimit
		number := slices.Index(limits, strings.TrimPrefix(fmt.Sprint(limit["type"]), "RLIMIT_"))
		if number < 0 || syscall.Getrlimit(number, &own) != nil {
			continue
		}
		for _, kind := range []string{"hard", "soft"} {
			if value, err := strconv.ParseUint(fmt.Sprint(limit[kind]), 10, 64); err == nil && value > own.Max {
				limit[kind] = own.Max
			}
		}
	}
}

// editFile edits the process that a file holds: all of it, or what is under "process". Numbers stay as they are written.
func editFile(path string, lacking map[string]bool) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var document map[string]any
	if err := decoder.Decode(&document); err != nil {
		return err
	}
	process := document
	if inner, ok := document["process"].(map[string]any); ok {
		process = inner
	}
	edit(process, lacking)
	if text, err = json.Marshal(document); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

// specification is the file that runc will read for these arguments; none for most of its commands.
func specification(arguments []string) string {
	command, bundle, process := "", ".", ""
	for i, argument := range arguments {
		name, value, joined := strings.Cut(argument, "=")
		if !joined && i+1 < len(arguments) {
			value = arguments[i+1]
		}
		switch name {
		case "--bundle", "-b":
			bundle = value
		case "--process", "-p":
			process = value
		case "create", "run", "restore", "exec":
			if command == "" {
				command = name
			}
		}
	}
	switch command {
	case "":
		return ""
	case "exec":
		return process
	default:
		return filepath.Join(bundle, "config.json")
	}
}

func main() {
	arguments := os.Args[1:]
	if path, lacking := specification(arguments), lacking(); path != "" && len(lacking) > 0 {
		if err := editFile(path, lacking); err != nil {
			fmt.Fprintln(os.Stderr, "lesser-runc:", err)
		}
	}
	for _, runc := range []string{"/usr/sbin/runc", "/usr/bin/runc", "/usr/local/sbin/runc"} {
		if _, err := os.Stat(runc); err == nil {
			err = syscall.Exec(runc, append([]string{runc}, arguments...), os.Environ())
			fmt.Fprintln(os.Stderr, "lesser-runc:", err)
		}
	}
	fmt.Fprintln(os.Stderr, "lesser-runc: there is no runc in /usr/sbin, /usr/bin, /usr/local/sbin")
	os.Exit(127)
}
