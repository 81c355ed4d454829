package server

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"tokenbroker/entra"
)

// Counter is a figure that another package keeps and /metrics shows.
type Counter struct {
	Name  string // without the prefix tokenbroker_; ends in _total unless Gauge
	Help  string
	Gauge bool // goes down too
	Value func() float64
}

// register makes the figure part of /metrics.
func (c Counter) register(registry *prometheus.Registry) {
	opts := prometheus.Opts{Namespace: namespace, Name: c.Name, Help: c.Help}
	if c.Gauge {
		registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts), c.Value))
	} else {
		registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts(opts), c.Value))
	}
}

// Family is a figure with a value for each set of labels, that another package
// keeps and /metrics shows. How many sets there are is for that package to bound.
type Family struct {
	Name    string // without the prefix tokenbroker_; ends in _total unless Gauge
	Help    string
	Gauge   bool // goes down too
	Labels  []string
	Samples func() []Sample
}

// Sample is one value of a [Family].
type Sample struct {
	Labels []string // as many as the family has
	Value  float64
}

// family makes a Family what Prometheus collects.
type family struct {
	Family
	desc *prometheus.Desc
}

func (f family) Describe(out chan<- *prometheus.Desc) { out <- f.desc }

func (f family) Collect(out chan<- prometheus.Metric) {
	kind := prometheus.CounterValue
	if f.Gauge {
		kind = prometheus.GaugeValue
	}
	for _, s := range f.Samples() {
		out <- prometheus.MustNewConstMetric(f.desc, kind, s.Value, s.Labels...)
	}
}

const namespace = "tokenbroker"

// metrics are the broker's figures. Label values come from the configuration
// and from our own tables, never from a caller, so their number is bounded.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	proxied  *prometheus.CounterVec
	failures *prometheus.CounterVec
}

func newMetrics(counters []Counter, families []Family) *metrics {
	count := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: count("requests_total", "Requests answered, by mount and class of status.", "mount", "class"),
		proxied:  count("proxied_total", "Calls that reached an upstream, by route and class of the upstream's status.", "route", "class"),
		failures: count("failures_total", "Requests that the broker itself refused or could not serve, by kind.", "kind"),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace,
			Name:      "request_seconds",
			Help:      "Time from a request's header to its answer's end, in seconds.",
			Buckets:   []float64{.001, .005, .025, .1, .5, 2.5, 10, 60, 240},
		}, []string{"mount"}),
	}
	m.registry.MustRegister(m.requests, m.seconds, m.proxied, m.failures,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewBuildInfoCollector())
	for _, c := range counters {
		c.register(m.registry)
	}
	for _, f := range families {
		m.registry.MustRegister(family{f, prometheus.NewDesc(prometheus.BuildFQName(namespace, "", f.Name), f.Help, f.Labels, nil)})
	}
	for _, kind := range entra.Kinds() {
		m.failures.WithLabelValues(kind.String()) // there from the start, so that a rate can be taken
	}
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// mountMetrics are a mount's figures, looked up once.
type mountMetrics struct {
	all     *metrics
	byClass [6]prometheus.Counter // by a status's first digit; there is no 0
	seconds prometheus.Observer
}

func (m *metrics) mount(name string) *mountMetrics {
	mm := &mountMetrics{all: m, seconds: m.seconds.WithLabelValues(name)}
	for class := 1; class < len(mm.byClass); class++ {
		mm.byClass[class] = m.requests.WithLabelValues(name, className(class))
	}
	return mm
}

func (m *mountMetrics) observe(status int, took time.Duration, t *entra.Trail) {
	m.byClass[classOf(status)].Inc()
	m.seconds.Observe(took.Seconds())
	if t.Upstream != 0 {
		m.all.proxied.WithLabelValues(t.Route, className(classOf(t.Upstream))).Inc()
	}
	if t.Failure != nil {
		m.all.failures.WithLabelValues(t.Failure.Kind.String()).Inc()
	}
}

// classOf is a status's first digit; an upstream may send what is no status.
func classOf(status int) int { return min(max(status/100, 1), 5) }

func className(class int) string { return strconv.Itoa(class) + "xx" }
