//! The Lambda function `archive`.

use archive::{Function, Schedule, ScheduleEvent};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use shared::lambda::Call;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let (_, store) = shared::lambda::start().await?;
    let schedule = Schedule::parse(std::env::var("ARCHIVE_DIMS").ok().as_deref())?;
    let function = &Function::new(store, schedule);
    let answer = async |event: LambdaEvent<ScheduleEvent>| {
        let call = Call::of_job(&event.context, std::time::SystemTime::now());
        function.run(&event.payload, call).await?;
        Ok::<_, Error>(())
    };
    lambda_runtime::run(service_fn(|event| Box::pin(answer(event)))).await
}
