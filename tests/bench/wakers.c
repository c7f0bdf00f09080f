/* Keeps containers awake at next to no cost: one small process in each, forked from this one so that they share its
 * memory. wakers INTERVAL_MS WORK_US LIFETIME_S; on standard input one line a container, the files that take its pids
 * with tabs between. After an empty line it says how many stand in their cgroups; the end of its input ends them all. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void add_us(struct timespec *when, long us)
{
	when->tv_sec += us / 1000000;
	when->tv_nsec += us % 1000000 * 1000;
	if (when->tv_nsec >= 1000000000) {
		when->tv_nsec -= 1000000000;
		when->tv_sec++;
	}
}

static double cpu_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

/* Its first moment differs from its neighbours', or all would wake at once. */
static void wake(long first_us, long interval_us, long work_us)
{
	struct timespec due;

	clock_gettime(CLOCK_MONOTONIC, &due);
	add_us(&due, first_us);
	for (;;) {
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
		double end = cpu_us() + work_us;
		while (cpu_us() < end)
			;
		add_us(&due, interval_us);
	}
}

static int join(char *files)
{
	for (char *file = strtok(files, "\t"); file; file = strtok(NULL, "\t")) {
		int fd = open(file, O_WRONLY);
		if (fd < 0 || write(fd, "0", 1) != 1) {
			perror(file);
			return 0;
		}
		close(fd);
	}
	return 1;
}

int main(int argc, char **argv)
{
	static pid_t pids[1 << 14];
	static char line[8192];
	int count = 0, joined = 0, ready[2];
	char mark;

	if (argc != 4 || pipe(ready))
		return 2;
	long interval_us = atol(argv[1]) * 1000, work_us = atol(argv[2]);
	while (fgets(line, sizeof line, stdin) && line[0] != '\n' && count < 1 << 14) {
		line[strcspn(line, "\n")] = 0;
		pid_t pid = fork();
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
			alarm(atoi(argv[3]));
			close(ready[0]);
			if (!join(line) || write(ready[1], ".", 1) != 1)
				_exit(1);
			close(ready[1]);
			wake(interval_us * (count % 97) / 97, interval_us, work_us);
		}
		if (pid > 0)
			pids[count++] = pid;
	}
	close(ready[1]);
	while (read(ready[0], &mark, 1) == 1)
		joined++;
	printf("%d\n", joined);
	fflush(stdout);
	while (fgets(line, sizeof line, stdin))
		;
	for (int i = 0; i < count; i++)
		kill(pids[i], SIGKILL);
	while (wait(NULL) > 0)
		;
	return 0;
}
