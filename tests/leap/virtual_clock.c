/* A clock of its own for one process: preloaded, it answers all that reads, sets and slews the time of day.
 *
 * So a client can be tried at any date, through a leap second, and never touches this machine's clock. It is the kernel's
 * clock in short: a frequency, a slew that ends by itself, and the leap second of STA_INS and STA_DEL at the end of the day.
 *
 *   VIRTUAL_START  seconds since 1970 that it shows at the start
 *   VIRTUAL_LOG    file for lines "HOST-SECONDS VIRTUAL-SECONDS WHAT": each quarter of a second, each step and leap second
 *
 * Compiled with -DSIMULATED, time itself is simulated: it passes only where the program waits in select(), so days take
 * seconds. What it sends goes to a server at the other end of a UNIX socket, together with the time of arrival:
 *
 *   VIRTUAL_SERVER  path of that socket: 8 bytes (nanoseconds since the start) and 48 of the request; 48 of the reply
 *   VIRTUAL_END     seconds after which the program ends
 *   VIRTUAL_DRIFT   error of the oscillator in ppm
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#define NS 1000000000LL
#define DAY 86400LL
#define ADJ_ADJTIME 0x8000         /* as the kernel calls it: adjtime() */
#define ADJ_OFFSET_READONLY 0x2000 /* asks only */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int64_t last_raw, shown; /* nanoseconds: the raw counter at the last look, the time shown then */
static double rest;             /* part of a nanosecond that was not shown yet */
static double slew_left;        /* nanoseconds that are still to be slewed */
static struct timex kernel = {.tick = 10000, .status = STA_UNSYNC, .maxerror = 16000000, .esterror = 16000000};
static int state = TIME_OK;
static int64_t oop_ends;
static FILE *notes;
static int64_t noted;

#ifdef SIMULATED
#define QUARTER (16 * NS)
static int64_t simulated = 1000 * NS, from = 1000 * NS;

static int64_t kernel_time(clockid_t which)
{
    (void)which;
    return simulated += 100; /* no program may wait for the clock in a loop for ever */
}

static double drift(void)
{
    static double ppm = 1e9;
    if (ppm == 1e9)
        ppm = getenv("VIRTUAL_DRIFT") ? atof(getenv("VIRTUAL_DRIFT")) : 0;
    return ppm * 1e-6;
}
#else
#define QUARTER (NS / 4)
static double drift(void) { return 0; }

static int64_t kernel_time(clockid_t which)
{
    struct timespec now;
    syscall(SYS_clock_gettime, which, &now);
    return now.tv_sec * NS + now.tv_nsec;
}
#endif

static void note(const char *what, double seconds)
{
    int64_t host = kernel_time(CLOCK_REALTIME);
    if (!notes)
        return;
    fprintf(notes, "%lld.%09lld %lld.%09lld %s %.9f\n", (long long)(host / NS), (long long)(host % NS),
            (long long)(shown / NS), (long long)(shown % NS), what, seconds);
    fflush(notes);
}

static void begin(void)
{
    const char *start = getenv("VIRTUAL_START"), *path = getenv("VIRTUAL_LOG");
    last_raw = kernel_time(CLOCK_MONOTONIC_RAW);
    shown = start ? (int64_t)(atof(start) * 1e9) : kernel_time(CLOCK_REALTIME);
    if (path)
        notes = fopen(path, "a");
    note("start", 0);
}

/* The leap second of the day, once the time shown has passed from `before` to `shown`. */
static void leap(int64_t before)
{
    int64_t midnight = (before / NS / DAY + 1) * DAY * NS;
    if (state == TIME_OK && (kernel.status & STA_INS))
        state = TIME_INS;
    else if (state == TIME_OK && (kernel.status & STA_DEL))
        state = TIME_DEL;
    if (state == TIME_INS && !(kernel.status & STA_INS))
        state = TIME_OK;
    if (state == TIME_DEL && !(kernel.status & STA_DEL))
        state = TIME_OK;
    if (state == TIME_INS && shown >= midnight) {
        shown -= NS;
        state = TIME_OOP;
        oop_ends = midnight;
        note("leap-inserted", -1);
    } else if (state == TIME_DEL && shown >= midnight - NS) {
        shown += NS;
        state = TIME_WAIT;
        note("leap-deleted", 1);
    } else if (state == TIME_OOP && shown >= oop_ends) {
        state = TIME_WAIT;
    }
    if (state == TIME_WAIT && !(kernel.status & (STA_INS | STA_DEL)))
        state = TIME_OK;
}

/* Brings the time shown up to now; the lock is held. */
static void advance(void)
{
    if (!last_raw)
        begin();
    int64_t raw = kernel_time(CLOCK_MONOTONIC_RAW), before = shown;
    double passed = (raw - last_raw) * (1 + drift());
    double rate = kernel.freq / 65536e6 + (kernel.tick - 10000) / 10000.0;
    double most = passed * 500e-6;
    double slewed = slew_left > most ? most : slew_left < -most ? -most : slew_left;
    double moved = passed * (1 + rate) + slewed + rest;
    last_raw = raw;
    slew_left -= slewed;
    shown += (int64_t)moved;
    rest = moved - (int64_t)moved;
    leap(before);
    if (raw - noted >= QUARTER) {
        noted = raw;
        note("shows", kernel.freq / 65536.0);
    }
}

static int64_t now(void)
{
    pthread_mutex_lock(&lock);
    advance();
    int64_t time = shown;
    pthread_mutex_unlock(&lock);
    return time;
}

static void set(int64_t time)
{
    pthread_mutex_lock(&lock);
    advance();
    double by = (time - shown) / 1e9;
    shown = time;
    slew_left = 0;
    note("step", by);
    pthread_mutex_unlock(&lock);
}

int clock_gettime(clockid_t which, struct timespec *to)
{
    int64_t time;
    if (which != CLOCK_REALTIME && which != CLOCK_REALTIME_COARSE)
        time = kernel_time(which);
    else
        time = now();
    to->tv_sec = time / NS;
    to->tv_nsec = time % NS;
    return 0;
}

int gettimeofday(struct timeval *restrict to, void *restrict zone)
{
    (void)zone;
    int64_t time = now();
    to->tv_sec = time / NS;
    to->tv_usec = time % NS / 1000;
    return 0;
}

time_t time(time_t *to)
{
    time_t seconds = now() / NS;
    if (to)
        *to = seconds;
    return seconds;
}

int clock_settime(clockid_t which, const struct timespec *to)
{
    if (which != CLOCK_REALTIME)
        return errno = EINVAL, -1;
    set(to->tv_sec * NS + to->tv_nsec);
    return 0;
}

int settimeofday(const struct timeval *to, const struct timezone *zone)
{
    (void)zone;
    if (to)
        set(to->tv_sec * NS + to->tv_usec * 1000LL);
    return 0;
}

int adjtime(const struct timeval *by, struct timeval *before)
{
    pthread_mutex_lock(&lock);
    advance();
    if (before) {
        int64_t left = (int64_t)(slew_left / 1000);
        before->tv_sec = left / 1000000;
        before->tv_usec = left % 1000000;
    }
    if (by) {
        slew_left = (by->tv_sec * 1e6 + by->tv_usec) * 1e3;
        note("slew", slew_left / 1e9);
    }
    pthread_mutex_unlock(&lock);
    return 0;
}

int adjtimex(struct timex *with)
{
    pthread_mutex_lock(&lock);
    advance();
    unsigned modes = with->modes;
    if ((modes & ADJ_ADJTIME) == ADJ_ADJTIME) {
        double left = slew_left;
        if (!(modes & ADJ_OFFSET_READONLY)) {
            slew_left = with->offset * 1e3;
            note("slew", slew_left / 1e9);
        }
        kernel.offset = left / 1e3;
        modes = 0;
    }
    if (modes & ADJ_STATUS) {
        if ((kernel.status ^ with->status) & (STA_INS | STA_DEL))
            note(with->status & STA_INS ? "told-insert" : with->status & STA_DEL ? "told-delete" : "told-none", 0);
        kernel.status = with->status & ~STA_RONLY;
    }
    if (modes & ADJ_NANO)
        kernel.status |= STA_NANO;
    if (modes & ADJ_MICRO)
        kernel.status &= ~STA_NANO;
    if (modes & ADJ_MAXERROR)
        kernel.maxerror = with->maxerror;
    if (modes & ADJ_ESTERROR)
        kernel.esterror = with->esterror;
    if (modes & ADJ_TIMECONST)
        kernel.constant = with->constant;
    if (modes & ADJ_TAI)
        kernel.tai = with->constant;
    if (modes & ADJ_FREQUENCY)
        kernel.freq = with->freq > 32768000 ? 32768000 : with->freq < -32768000 ? -32768000 : with->freq;
    if (modes & ADJ_TICK)
        kernel.tick = with->tick;
    if (modes & ADJ_OFFSET) {
        /* The kernel's loop in short: all of it is slewed, and a part becomes frequency. */
        slew_left = with->offset * (kernel.status & STA_NANO ? 1.0 : 1e3);
        note("loop", slew_left / 1e9);
    }
    if (modes & ADJ_SETOFFSET) {
        double by = with->time.tv_sec + with->time.tv_usec * (modes & ADJ_NANO || kernel.status & STA_NANO ? 1e-9 : 1e-6);
        shown += (int64_t)(by * 1e9);
        kernel.maxerror = kernel.esterror = 16000000; /* as after each step: chronyd looks */
        if (by != 0)
            note("step", by);
    }
    unsigned asked = with->modes;
    *with = kernel;
    with->modes = asked;
    if (!(asked & ADJ_ADJTIME))
        with->offset = slew_left / (kernel.status & STA_NANO ? 1.0 : 1e3);
    with->tolerance = 32768000;
    with->precision = 1;
    with->time.tv_sec = shown / NS;
    with->time.tv_usec = kernel.status & STA_NANO ? shown % NS : shown % NS / 1000;
    int result = kernel.status & STA_UNSYNC ? TIME_ERROR : state;
    advance();
    pthread_mutex_unlock(&lock);
    return result;
}

int ntp_adjtime(struct timex *with) { return adjtimex(with); }

int clock_adjtime(clockid_t which, struct timex *with)
{
    return which == CLOCK_REALTIME ? adjtimex(with) : (errno = EINVAL, -1);
}

int ntp_gettimex(struct ntptimeval *to)
{
    struct timex with = {.modes = 0};
    int result = adjtimex(&with);
    memset(to, 0, sizeof *to);
    to->time = with.time;
    to->maxerror = with.maxerror;
    to->esterror = with.esterror;
    to->tai = with.tai;
    return result;
}

#ifdef SIMULATED

#include <netinet/in.h>
#include <sys/select.h>
#include <sys/un.h>

#define WAY (5 * NS / 1000) /* a packet's way to the server, and back */

static int asked = -1;          /* the socket that waits for a reply */
static int64_t due;             /* when that comes */
static unsigned char reply[48];

static int64_t jitter(void)
{
    static uint64_t seed = 1;
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (int64_t)(seed >> 33) % 40000; /* up to 40 us */
}

static int server(void)
{
    static int connection = -1;
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (connection >= 0)
        return connection;
    strncpy(to.sun_path, getenv("VIRTUAL_SERVER"), sizeof to.sun_path - 1);
    connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(connection, (struct sockaddr *)&to, sizeof to) != 0)
        _exit(3);
    return connection;
}

ssize_t sendmsg(int socket, const struct msghdr *message, int flags)
{
    unsigned char request[56];
    if (message->msg_iovlen != 1 || message->msg_iov->iov_len != 48)
        return syscall(SYS_sendmsg, socket, message, flags);
    int64_t arrives = simulated + WAY + jitter(), count = arrives - from;
    memcpy(request, &count, 8);
    memcpy(request + 8, message->msg_iov->iov_base, 48);
    if (write(server(), request, sizeof request) != sizeof request || read(server(), reply, 48) != 48)
        _exit(4);
    asked = socket;
    due = arrives + WAY + jitter();
    return 48;
}

int select(int count, fd_set *reads, fd_set *writes, fd_set *faults, struct timeval *timeout)
{
    int64_t until = simulated + (timeout ? timeout->tv_sec * NS + timeout->tv_usec * 1000LL : 1000 * NS);
    int comes = asked >= 0 && asked < count && reads && FD_ISSET(asked, reads) && due <= until;
    /* In steps, so that the clock is noted on the way. */
    int64_t to = comes ? due : until;
    while (simulated < to) {
        simulated = to - simulated > QUARTER ? simulated + QUARTER : to;
        now();
    }
    if (simulated - from > (int64_t)(atof(getenv("VIRTUAL_END")) * 1e9))
        _exit(0);
    if (reads)
        FD_ZERO(reads);
    if (writes)
        FD_ZERO(writes);
    if (faults)
        FD_ZERO(faults);
    if (comes)
        FD_SET(asked, reads);
    return comes;
}

static ssize_t receive(int socket, struct msghdr *message)
{
    if (socket != asked || simulated < due)
        return errno = EAGAIN, -1;
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_port = htons(12399), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    asked = -1;
    memcpy(message->msg_iov->iov_base, reply, sizeof reply);
    memcpy(message->msg_name, &from, sizeof from);
    message->msg_namelen = sizeof from;
    message->msg_controllen = 0;
    message->msg_flags = 0;
    return sizeof reply;
}

ssize_t recvmsg(int socket, struct msghdr *message, int flags)
{
    (void)flags;
    return receive(socket, message);
}

int recvmmsg(int socket, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout)
{
    (void)count, (void)flags, (void)timeout;
    ssize_t length = receive(socket, &messages->msg_hdr);
    messages->msg_len = length > 0 ? length : 0;
    return length > 0 ? 1 : -1;
}

#else

/* The kernel's stamps of packets are of its own clock. */
static void restamp(struct msghdr *message)
{
    int64_t host = kernel_time(CLOCK_REALTIME), time = now();
    for (struct cmsghdr *one = CMSG_FIRSTHDR(message); one; one = CMSG_NXTHDR(message, one)) {
        if (one->cmsg_level != SOL_SOCKET)
            continue;
        size_t room = one->cmsg_len - CMSG_LEN(0);
        int64_t stamp;
        if (one->cmsg_type == SO_TIMESTAMP && room >= sizeof(struct timeval)) {
            struct timeval *at = (struct timeval *)CMSG_DATA(one);
            stamp = time - (host - (at->tv_sec * NS + at->tv_usec * 1000LL));
            at->tv_sec = stamp / NS;
            at->tv_usec = stamp % NS / 1000;
        } else if (one->cmsg_type == SO_TIMESTAMPNS || one->cmsg_type == SO_TIMESTAMPING) {
            struct timespec *at = (struct timespec *)CMSG_DATA(one);
            if (room < sizeof *at || !at->tv_sec)
                continue;
            stamp = time - (host - (at->tv_sec * NS + at->tv_nsec));
            at->tv_sec = stamp / NS;
            at->tv_nsec = stamp % NS;
        }
    }
}

ssize_t recvmsg(int socket, struct msghdr *message, int flags)
{
    ssize_t length = syscall(SYS_recvmsg, socket, message, flags);
    if (length >= 0)
        restamp(message);
    return length;
}

int recvmmsg(int socket, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout)
{
    int received = syscall(SYS_recvmmsg, socket, messages, count, flags, timeout);
    for (int place = 0; place < received; place++)
        restamp(&messages[place].msg_hdr);
    return received;
}

#endif
