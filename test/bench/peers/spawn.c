/*
 * What the system itself takes for a program: nothing but posix_spawn and wait.
 *
 *   spawn rate COUNT WIDTH PROGRAM    prints seconds for COUNT programs, WIDTH at a time
 *   spawn latency COUNT PROGRAM      prints microseconds from spawn to wait, a line each, one program after the other
 *
 * Each program gets one argument, task.NNNNNN, and prints to /dev/null. One that cannot be started, or that ends with
 * another code than 0, is the end of it.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;
static posix_spawn_file_actions_t actions;

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static void start(char *program, int number) {
  char argument[32];
  char *arguments[] = {program, argument, NULL};
  pid_t pid;
  snprintf(argument, sizeof argument, "task.%06d", number);
  errno = posix_spawn(&pid, program, &actions, NULL, arguments, environ);
  if (errno != 0) err(1, "%s", program);
}

static void finish(void) {
  int status;
  if (wait(&status) < 0) err(1, "wait");
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) errx(1, "a program ended with status %d", status);
}

int main(int argc, char **argv) {
  int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (argc < 4 || null < 0) errx(2, "usage: spawn rate COUNT WIDTH PROGRAM | spawn latency COUNT PROGRAM");
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, null, 1);
  int count = atoi(argv[2]);
  if (strcmp(argv[1], "latency") == 0) {
    for (int i = 0; i < count; i++) {
      double began = seconds();
      start(argv[3], i);
      finish();
      printf("%.1f\n", (seconds() - began) * 1e6);
    }
    return 0;
  }
  int width = atoi(argv[3]), running = 0;
  double began = seconds();
  for (int i = 0; i < count; i++) {
    if (running == width) {
      finish();
      running--;
    }
    start(argv[4], i);
    running++;
  }
  for (; running > 0; running--) finish();
  printf("%.6f\n", seconds() - began);
  return 0;
}
